"""What the commands do: steps in order, planned before they are applied."""
