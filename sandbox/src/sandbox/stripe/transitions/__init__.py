"""What happens to sessions, intents, charges, refunds and disputes, and which events each change emits."""
