"""What is wrong with the secrets of this server; changes nothing and prints no value."""
