"""What all answers are made of: where they come from, their headers, their streams, and failures in their place."""
