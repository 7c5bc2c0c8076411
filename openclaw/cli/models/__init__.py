"""C{openclaw models}: the models of the configuration, and the weights of the embedded one."""
