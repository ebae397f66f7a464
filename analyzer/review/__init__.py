"""How findings are reviewed: states, final scores, samples, agreement, what rules are worth. Pure: no I/O, no clock."""
