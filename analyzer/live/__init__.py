"""Calls while they are spoken: audio in, findings, hints and the checklist out. docs/live.md says how it fits together.

wire ─ chunks ─► timeline ─ samples ─► LiveCall ─ windows ─► scheduler ─ utterances ─► LiveCall ─ events ─► journal
native, Twilio,  absolute sample       VAD, engine,          one recogniser            coach                overlay,
FreeSWITCH, …    clock, gaps           one per call          for all calls                                  supervisor
"""
