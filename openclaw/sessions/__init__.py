"""The sessions: their transcripts, lanes, turns and keeping."""
