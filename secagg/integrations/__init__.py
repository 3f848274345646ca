"""What lets others' federations use this engine: one package or module each, loaded only by those who name it."""
