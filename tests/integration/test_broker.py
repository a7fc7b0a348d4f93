"""What is promised of a message on either broker: confirmed or refused, counted, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from backends.broker import MESSAGE_DEADLINE, Publisher
from deploy.native.rabbitmq import RabbitMQServer
from memrelay.jobs import deliver_queue
from tests.brokers import KINDS, Broker, broker_of
from tests.rig import wait_until

QUEUE = deliver_queue("interactive")
OTHER = deliver_queue("bulk")
ROOM = 10.0  # for a busy machine
AT_ONCE = MESSAGE_DEADLINE - 0.5  # likewise; who waited would wait for longer


@pytest.fixture(scope="module", params=KINDS)
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    with broker_of(request.param, tmp_path_factory.mktemp(request.param)) as broker:
        yield broker


@pytest.fixture
def rabbitmq(broker: Broker) -> RabbitMQServer:
    if not isinstance(broker.server, RabbitMQServer):
        pytest.skip("of RabbitMQ alone")
    return broker.server


@pytest.fixture
def publisher(broker: Broker) -> Iterator[Publisher]:
    """On empty queues."""
    publisher = broker.publisher()
    try:
        for queue in (QUEUE, OTHER):
            publisher.waiting(queue)  # declared
            broker.empty(queue)
        publisher.reset()
        yield publisher
    finally:
        publisher.reset()


def seconds_to_fail(publisher: Publisher, act: Callable[[], object]) -> float:
    """How long it took until ``act`` raised one of the publisher's errors; its next call starts anew."""
    began = time.monotonic()
    with pytest.raises(publisher.errors):
        act()
    publisher.reset()
    return time.monotonic() - began


def test_what_was_published_waits_in_its_queue(publisher: Publisher) -> None:
    assert publisher.waiting(QUEUE) == 0
    for envelope in range(3):
        publisher.publish(QUEUE, envelope)
    publisher.publish(OTHER, 1)
    assert (publisher.waiting(QUEUE), publisher.waiting(OTHER)) == (3, 1)


def test_what_was_published_survives_a_kill_of_the_broker(
    broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(QUEUE, 1)
    if broker.kind == "rabbitmq":
        broker.server.restart()  # killed, it may forget a queue that is seconds old
        publisher.reset()
    for envelope in range(4):
        publisher.publish(QUEUE, envelope)
    time.sleep(1.5)  # Redis syncs its file once a second
    broker.server.kill()
    seconds_to_fail(publisher, lambda: publisher.publish(QUEUE, 5))
    broker.server.start()
    publisher.publish(QUEUE, 6)
    wait_until("the queue to be counted again", lambda: publisher.waiting(QUEUE) == 6, 60)


def test_a_queue_that_was_deleted_is_back_with_the_next_message_or_count(
    broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(QUEUE, 1)
    broker.delete(QUEUE)
    assert publisher.waiting(QUEUE) == 0
    publisher.publish(QUEUE, 2)
    assert publisher.waiting(QUEUE) == 1
    broker.delete(QUEUE)
    try:
        publisher.publish(QUEUE, 3)
    except publisher.errors:  # RabbitMQ, which says that nobody would get it
        publisher.reset()
        publisher.publish(QUEUE, 3)
    assert publisher.waiting(QUEUE) == 1


def test_an_acknowledgement_over_a_lost_connection_is_a_connection_error(
    broker: Broker, publisher: Publisher
) -> None:
    """Anything else would end the worker."""
    publisher.publish(QUEUE, 1)
    connection = broker.app.connection_for_read()
    message = broker.app.amqp.queues[QUEUE](connection.default_channel).get()
    connection.collect()
    if broker.kind == "redis":
        message.channel._disconnect_pools()  # as in a close that fails half way
    with pytest.raises(connection.connection_errors):
        message.ack()


@pytest.mark.parametrize("end", ["ack", "reject", "requeue"])
def test_a_message_that_cannot_be_acknowledged_does_not_keep_others_away(
    broker: Broker, publisher: Publisher, end: str
) -> None:
    """As many as are fetched ahead would stop the consumer for good."""
    if broker.kind != "redis":
        pytest.skip("of Redis alone: elsewhere the connection that fetches is lost with it")
    publisher.publish(QUEUE, 1)
    channel = broker.app.connection_for_read().default_channel
    channel.basic_qos(0, 1, False)
    message = broker.app.amqp.queues[QUEUE](channel).get()
    assert not channel.qos.can_consume()
    broker.server.kill()
    try:
        with pytest.raises(channel.connection.client.connection_errors):
            message.ack() if end == "ack" else message.reject(requeue=end == "requeue")
        assert channel.qos.can_consume()
    finally:
        broker.server.start()


def test_a_message_that_no_queue_takes_is_an_error(
    broker: Broker, rabbitmq: RabbitMQServer, publisher: Publisher
) -> None:
    publisher.publish(QUEUE, 1)
    broker.delete(QUEUE)
    assert seconds_to_fail(publisher, lambda: publisher.publish(QUEUE, 2)) < AT_ONCE


def test_no_call_waits_longer_for_a_frozen_broker_than_its_deadline(
    broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(QUEUE, 1)
    broker.server.freeze()
    try:
        took = seconds_to_fail(publisher, lambda: publisher.publish(QUEUE, 2))
        assert took < MESSAGE_DEADLINE + ROOM
        took = seconds_to_fail(publisher, lambda: publisher.waiting(QUEUE))  # it connects anew
        assert took < MESSAGE_DEADLINE + ROOM
    finally:
        broker.server.thaw()
    publisher.publish(QUEUE, 3)


def test_a_frame_that_stops_half_way_is_given_up(
    broker: Broker, rabbitmq: RabbitMQServer, publisher: Publisher
) -> None:
    """py-amqp's own timeouts hold for the first bytes of a frame alone."""
    publisher.publish(QUEUE, 1)
    hour = 3600 * 1_000_000
    with broker.proxy.toxic("slicer", average_size=9, size_variation=1, delay=hour):
        took = seconds_to_fail(publisher, lambda: publisher.waiting(QUEUE))
    assert took < MESSAGE_DEADLINE + ROOM


def test_a_late_confirmation_is_never_taken_for_that_of_another_message(
    broker: Broker, publisher: Publisher
) -> None:
    publisher.publish(QUEUE, 1)
    late = int(1000 * MESSAGE_DEADLINE + 1000)
    with broker.proxy.toxic("latency", latency=late):
        took = seconds_to_fail(publisher, lambda: publisher.publish(QUEUE, 2))
        assert took < MESSAGE_DEADLINE + ROOM
    publisher.publish(QUEUE, 3)
    assert publisher.waiting(QUEUE) == 3


def test_an_alarm_is_an_error_at_once_and_counting_goes_on(
    rabbitmq: RabbitMQServer, publisher: Publisher
) -> None:
    publisher.publish(QUEUE, 1)
    rabbitmq.raise_alarm()
    try:
        for _ in range(2):
            assert seconds_to_fail(publisher, lambda: publisher.publish(QUEUE, 2)) < AT_ONCE
        assert publisher.waiting(QUEUE) == 1
    finally:
        rabbitmq.lift_alarm()
    publisher.publish(QUEUE, 3)
    assert publisher.waiting(QUEUE) >= 2  # what was refused may have been on its way
