"""What the browser hears and draws of a recording: peaks, a copy it can play, clips with identifiers bleeped."""
