"Where alembic begins: `football_pred.core.migrate` gives it a connection inside a transaction."

from alembic import context

context.configure(connection=context.config.attributes['connection'])
with context.begin_transaction():
    context.run_migrations()
