"""C{openclaw doctor}: look for what is wrong with an installation."""
