"""A scripted XMPP server: friendly by default, hostile on request."""
