"""What becomes of an encoded message: it waits in a queue, is sent, and is retried, divided or given up."""
