"""Which headers are present where: followed through chains, tables, stages and actions."""
