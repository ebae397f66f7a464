"""Rules of other systems as drafts of ours: SCA rule JSON, keyword expressions, Excel word lists.

``read_foreign(path)`` reads a file, ``Drafts.write(folder)`` puts word lists and rules down. What has no counterpart is
listed, never guessed; what is mapped a little differently is listed too. Drafts do not run until somebody has read them
and changed their status.
"""

from analyzer.importers.drafts import Drafts
from analyzer.importers.files import NOTATIONS, read_foreign

__all__ = ["NOTATIONS", "Drafts", "read_foreign"]
