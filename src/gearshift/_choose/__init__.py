"""Deciding, purely: measurements in, plans and chunk lengths out. No clock, thread or OS."""
