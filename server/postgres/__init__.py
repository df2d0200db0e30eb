"""PostgreSQL: pool and transactions, error mapping, named statements, migrations, our own launcher. No product rule."""
