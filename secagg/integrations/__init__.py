"""Plug-ins for other systems; each imports its system only when used."""
