"""Taking over what was installed by hand, and giving it back."""
