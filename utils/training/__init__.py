"""What a training step and a run need."""
