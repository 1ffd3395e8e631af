"""The outward doors of operations: queues that get messages back, the keeper of people's identities, and what services
say of themselves."""
