"""The methods of the WebSocket protocol, a row of one table each; transport and handshake are C{openclaw.ws}."""
