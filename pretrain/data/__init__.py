"""What is trained on: mixture, order, batches."""
