"""The live server: audio in over WebSocket and AudioSocket, events out, pages, an API.

Thin and one asyncio loop: what a call is, is ``analyzer.live``'s business. Nothing here is buffered per client: a
stream of events reads the call's log by number, as fast as its client takes it.

    app          the ASGI application: ``create_app(hub, token=…)``
    gate         token, origin, size and headers, before any route
    desk         what all routes share
    senders      a connection that sends audio, whatever it runs over
    audio        WebSockets of senders; ``audiosocket`` the TCP server for Asterisk
    events       event streams; ``board`` how the calls stand, ``api`` both over HTTP
    metrics      for Prometheus; ``audit`` who whispered; ``asyncapi`` the streams' description
    run          a server process from warm-up to its graceful end
"""
