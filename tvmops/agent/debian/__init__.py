"""Debian's package programs: what is installed, what would change, and running apt-get with deadlines."""
