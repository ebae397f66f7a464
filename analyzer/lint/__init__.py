"""What is wrong with a pack although it loads: rules that cannot fire, words that contradict each other, thin cases.

``lint(name_or_path)`` gives every problem found, by file and line. Each check is a function over the opened pack; which
there are and what they look for stands in ``CHECKS`` and in docs/rules-tools.md.
"""

from analyzer.lint.checks import CHECKS, lint
from analyzer.lint.problems import Problem

__all__ = ["CHECKS", "Problem", "lint"]
