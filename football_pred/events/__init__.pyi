from .kafka import TOPICS as TOPICS
from .outbox_relay import run_relay as run_relay
from .consumer import run_consumer as run_consumer
from .on_result import process_results as process_results
