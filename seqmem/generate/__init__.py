"""Generation: from a trained model to text."""
