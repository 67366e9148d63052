"""Runs a plan: checks all of it, then does what is not there yet."""

import dataclasses
import sys
import time

from tfcompress.compression import execution, journal, steps

_SKIPPED = {
  journal.State.THERE: 'there already, same flags and inputs',
  journal.State.FAILED: (
    'failed before with the same flags and inputs; --retry_failed tries again'
  ),
}


def checked(plan: steps.Plan) -> steps.Plan:
  """Returns the plan with the flags of trainings as `train` reads them.

  Raises:
    ValueError: `train` refuses the flags of a stage.
  """
  commands = [[*step.argv, '--check_flags'] for step in plan.trainings]
  trainings = []
  for step, result in zip(
    plan.trainings, execution.outputs(commands), strict=True
  ):
    if result.code:
      reason = execution.reason(result.stderr)
      if not reason:
        print(result.stderr, file=sys.stderr)
      raise ValueError(f'{step.label}: {reason or "ended on a bug, see above"}')
    flags = steps.as_flags(result.stdout.splitlines())
    trainings.append(dataclasses.replace(step, flags=flags))
  return dataclasses.replace(plan, trainings=tuple(trainings))


def run(
  plan: steps.Plan, memory: journal.Journal, *, retry_failed: bool = False
) -> None:
  """Runs the steps of a plan that are not there yet, one after another.

  An export or measurement that fails is noted, and the others go on.

  Raises:
    ValueError: a training failed, or the reference; or what is there was made
      with other flags.
  """
  states = memory.states(plan.steps)
  reference = plan.files[0]
  lost = set()  # What failed steps would have written.
  for number, step in enumerate(plan.steps, start=1):
    state = states[step.name]
    if state is journal.State.FAILED and retry_failed:
      state = journal.State.TO_DO
    place = f'[{number}/{len(plan.steps)}]'
    if lost.intersection(step.inputs):
      print(f'{place} {step.name}: left out, there is no file', flush=True)
      lost.add(step.result)
      continue
    if state in _SKIPPED:
      print(f'{place} {step.name}: {_SKIPPED[state]}', flush=True)
    else:
      print(f'\n{place} $ {step}', flush=True)
      _run_one(step, memory)
    if reason := memory.failure(step):
      if step in (reference.export, reference.measure):
        raise ValueError(
          f'{step.label}, the reference, failed: {reason}; '
          'once that is mended, --retry_failed tries it again'
        )
      lost.add(step.result)


def _run_one(step: steps.Step, memory: journal.Journal) -> None:
  memory.note_begun(step)
  begin = time.monotonic()
  failure = None
  if step.trains:
    execution.train(step)
  else:
    failure = execution.attempt(step)
  if failure:
    memory.note_failed(step, failure.reason, final=failure.refused)
  else:
    memory.note_done(step)
  seconds = time.monotonic() - begin
  print(f'{"failed" if failure else "done"} after {seconds:.0f} s', flush=True)
