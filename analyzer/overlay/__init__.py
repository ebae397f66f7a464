"""What the agent sees during a call, in a terminal.

``state``   the events of a call -> how things stand; pure
``view``    how things stand -> a picture of 80x24 or more; pure
``plain``   an event -> a line for logs and pipes; pure
``screen``  the picture kept up to date, and keys
"""
