"""What a user says about a model, and the conditions that it ships under."""
