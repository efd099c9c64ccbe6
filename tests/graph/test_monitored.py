"""Monitored sessions and their hooks."""

import os

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, GraphError, UninitializedError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made
    tf.summary.FileWriterCache.clear()


def training():
    w = tf.Variable(16.0, name="w")
    loss = tf.identity(w * w, name="loss")
    return w, loss, tf.train.GradientDescentOptimizer(0.25).minimize(loss, tf.train.get_or_create_global_step())


def test_a_training_stops_saves_and_goes_on(tmp_path):
    for last, expected in ((2, 4.0), (5, 0.5)):
        with tf.Graph().as_default():
            w, loss, step = training()
            tf.summary.scalar("loss", loss)
            stop = tf.train.StopAtStepHook(last_step=last)
            with tf.train.MonitoredTrainingSession(
                checkpoint_dir=tmp_path, hooks=[stop], save_checkpoint_steps=100, save_summaries_steps=1
            ) as session:
                while not session.should_stop():
                    session.run(step)
                assert session.raw_session().run(w) == expected
            assert session.should_stop() and tf.get_default_graph().finalized
            tf.summary.FileWriterCache.clear()
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "model.ckpt-5")
    assert sorted(x for x in os.listdir(tmp_path) if x.startswith("model")) == ["model.ckpt-0", "model.ckpt-2", "model.ckpt-5"]
    assert len([x for x in os.listdir(tmp_path) if "tfevents" in x]) == 2


def test_hooks_are_called_in_order(capsys):
    calls = []

    class Watcher(tf.train.SessionRunHook):
        def begin(self):
            calls.append("begin")
            self.twice = before * 2.0

        def after_create_session(self, session, coord):
            calls.append(("created", session.run(w)))

        def before_run(self, context):
            assert context.original_args.fetches is step
            return tf.train.SessionRunArgs({"twice": self.twice}, {fed: 3.0})

        def after_run(self, context, values):
            calls.append(values.results["twice"])
            if len(calls) == 4:
                context.request_stop()

        def end(self, session):
            calls.append(("end", session.run(w)))

    fed = tf.placeholder_with_default(1.0, [])
    w = tf.Variable(2.0)
    before = w.read_value()
    step = w.assign_add(fed)
    with tf.train.SingularMonitoredSession(hooks=[Watcher()]) as session:
        while not session.should_stop():
            session.run(step)
        with pytest.raises(GraphError, match="the session was asked to stop"):
            session.run(step)
    assert calls == ["begin", ("created", 2.0), 4.0, 10.0, ("end", 8.0)]
    with pytest.raises(GraphError, match="the monitored session is closed"):
        session.run(step)


def test_logging_and_final_values(capsys):
    w, loss, step = training()
    final = tf.train.FinalOpsHook(w)
    hooks = [
        tf.train.LoggingTensorHook(
            {"loss": loss}, every_n_iter=2, at_end=True, formatter=lambda values: f"loss {values['loss']}"
        ),
        tf.train.LoggingTensorHook(["w:0"], every_n_iter=100),
        tf.train.StopAtStepHook(num_steps=3),
        final,
    ]
    with tf.train.MonitoredSession(hooks=hooks) as session:
        while not session.should_stop():
            session.run(step)
    assert capsys.readouterr().out.splitlines() == ["loss 256.0", "w:0 = 16.0", "loss 16.0", "loss 4.0"]
    assert final.final_ops_values == 2.0


def test_nan_losses():
    fed = tf.placeholder(tf.float32, [], name="fed")
    hook = tf.train.NanTensorHook(fed)
    with tf.train.MonitoredSession(hooks=[hook]) as session:
        session.run(fed, {fed: 1.0})
        with pytest.raises(tf.train.NanLossDuringTrainingError, match="NanTensorHook: fed:0 is NaN"):
            session.run(fed, {fed: np.nan})
    with tf.Graph().as_default():
        fed = tf.placeholder(tf.float32, [])
        with tf.train.MonitoredSession(hooks=[tf.train.NanTensorHook(fed, fail_on_nan_loss=False)]) as session:
            session.run(fed, {fed: np.nan})
            assert session.should_stop()


def test_step_functions():
    w = tf.Variable(0)
    add = w.assign_add(1)

    def turn(context):
        assert context.session.run(w) < 3
        if context.run_with_hooks(add) == 3:
            context.request_stop()

    with tf.train.MonitoredSession() as session:
        for _ in range(10):
            session.run_step_fn(turn)
    assert session.should_stop()


def test_listeners_of_checkpoints(tmp_path):
    calls = []

    class Listener(tf.train.CheckpointSaverListener):
        def before_save(self, session, step):
            calls.append(f"before {step}")

        def after_save(self, session, step):
            calls.append(f"after {step} {tf.train.latest_checkpoint(tmp_path)[-1]}")
            return step == 2

        def end(self, session, step):
            calls.append(f"end {step}")

    _, _, step = training()
    hook = tf.train.CheckpointSaverHook(tmp_path, save_steps=2, listeners=[Listener()])
    with tf.train.MonitoredSession(hooks=[hook]) as session:
        while not session.should_stop():
            session.run(step)
    assert calls == ["before 0", "after 0 0", "before 2", "after 2 2", "end 2"]


def test_starts_that_make_no_sense(tmp_path):
    v = tf.Variable(1.0, name="v")
    with pytest.raises(UninitializedError, match="begins with variables that have no value: 'v'"):
        tf.train.MonitoredSession(tf.train.ChiefSessionCreator(tf.train.Scaffold(init_op=tf.no_op())))
    with tf.Graph().as_default(), pytest.raises(GraphError, match="StopAtStepHook counts by the global step, and the graph has"):
        tf.train.MonitoredSession(hooks=[tf.train.StopAtStepHook(last_step=1)])
    with pytest.raises(ArgumentError, match="either num_steps or last_step"):
        tf.train.StopAtStepHook()
    with pytest.raises(GraphError, match="sessions run in one process"):
        tf.train.MonitoredTrainingSession(is_chief=False)
    assert v is not None


def test_names_that_are_not_there_say_what_is():
    with pytest.raises(GraphError, match=r"tf.train.Coordinator: there are no queues(.|\n)*feed it"):
        tf.train.Coordinator()
    with pytest.raises(GraphError, match=r"tf.train.Checkpoint: (.|\n)*tf.train.Saver"):
        tf.train.Checkpoint()
    assert not hasattr(tf.train, "start_queue_runners") and not hasattr(tf.train, "nothing_of_this_name")


def test_a_second_session_on_a_finished_graph(tmp_path):
    step = tf.train.get_or_create_global_step()
    count = step.assign_add(1)
    with tf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), save_checkpoint_steps=1) as session:
        session.run(count)
    with tf.train.SingularMonitoredSession(checkpoint_dir=str(tmp_path)) as session:
        assert session.run(step) == 1
