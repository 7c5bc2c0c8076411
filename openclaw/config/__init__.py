"""Configuration: files to frozen values."""
