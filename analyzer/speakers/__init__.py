"""Two speakers on one channel: told apart by their voices, named by what they say. docs/speakers.md says how well.

``listen`` keeps of each segment what ``attribute`` needs once the whole call is heard and recognised. No trained
weights: everything is measured on the call itself.
"""

from analyzer.speakers.attribution import SURE, attribute
from analyzer.speakers.traits import Traits, listen

__all__ = ["SURE", "Traits", "attribute", "listen"]
