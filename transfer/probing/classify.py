"""Linear and nearest-neighbour classification of frozen features."""

from superinfo.artifacts import Metric
from superinfo.errors import UserError
from superinfo.knn import knn_predict
from transfer.probing.labelled import Labelled
from transfer.probing.linear import train_linear
from transfer.probing.logistic import choose
from transfer.probing.recipe import KNNSpec, LBFGSSpec, LinearSpec, SGDSpec
from transfer.probing.scores import percent, scores
from transfer.probing.splits import stratified
from transfer.probing.trial import Outcome, Trial

VALIDATION = 1
"""Which of the seed's streams carves out the validation images."""


def classify_linearly(trial: Trial, task: LinearSpec) -> Outcome:
    """Train the recipe's linear classifier and score it on the test images."""
    train, test = trial.labelled(trial.splits.train), trial.labelled(trial.splits.test)
    if isinstance(task.solver, SGDSpec):
        return _by_sgd(trial, task.solver, train, test)
    return _by_lbfgs(trial, task.solver, train, test)


def classify_by_neighbours(trial: Trial, task: KNNSpec) -> Outcome:
    """Let the nearest training features vote and score that on the test images."""
    train, test = trial.labelled(trial.splits.train), trial.labelled(trial.splits.test)
    if task.k > len(train.labels):
        raise UserError(f"task.k: {task.k} neighbours of {len(train.labels):,} training images; lower it")
    (gallery, classes), (queries, _) = train.tensors(trial.device), test.tensors(trial.device)
    predicted = knn_predict(gallery, classes, queries, k=task.k, temperature=task.temperature)
    return Outcome(scores(predicted.cpu().numpy(), test.labels, trial.recipe.metric), len(test.labels))


def _by_sgd(trial: Trial, solver: SGDSpec, train: Labelled, test: Labelled) -> Outcome:
    trained = train_linear(solver, trial.classes, train, test, trial.seed, trial.device)
    metrics = scores(trained.predicted, test.labels, trial.recipe.metric)
    notes: tuple[str, ...] = ()
    if solver.best_epoch_on_test:
        metrics["best_epoch_on_test_accuracy"] = percent(100 * max(trained.right))
        notes = ("best_epoch_on_test_accuracy is of the epoch that was best on the test images themselves",)
    return Outcome(metrics, len(test.labels), notes)


def _by_lbfgs(trial: Trial, solver: LBFGSSpec, train: Labelled, test: Labelled) -> Outcome:
    if trial.splits.validation is not None:
        validation = trial.labelled(trial.splits.validation)
    else:
        kept, carved = stratified(train.labels, 1 - solver.validation_share, [trial.seed, VALIDATION])
        if not carved.size:
            raise UserError("data.train: too few images of each class to choose on some; give data.validation")
        train, validation = train.rows(kept), train.rows(carved)
    chosen = choose(solver, train, validation, trial.recipe.metric, trial.classes, trial.device)
    metrics = scores(chosen.model.predict(test.features), test.labels, trial.recipe.metric)
    metrics["C"] = Metric(value=chosen.c, unit="1", higher_is_better=True)
    metrics[f"validation_{trial.recipe.metric}"] = percent(chosen.validation[chosen.c])
    others = [value for c, value in chosen.validation.items() if c != chosen.c]
    at_end = chosen.c in {min(solver.grid), max(solver.grid)} and chosen.validation[chosen.c] > max(others, default=100)
    notes = (f"C {chosen.c:g}, at an end of task.solver.grid, is better than all others: widen it",) if at_end else ()
    return Outcome(metrics, len(test.labels), notes)
