"""Tells Twisted of C{twistd openclaw}; imported by every twistd, so nothing else belongs here."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker("OpenClaw Gateway", "openclaw.tap", "Your own AI agents behind one port.", "openclaw")
