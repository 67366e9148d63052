"""Runs a workflow's job as GitHub would: its own bash, in the files' order.

What a step `uses` is imitated: a checkout is a clone, an artifact a folder. What
a step installs is there already.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

import yaml

import tfcompress
from tests.hosting import commits

_EXPRESSION = re.compile(r'\$\{\{\s*([\w.]+)\s*\}\}')
_INSTALLS = ('apt-get', 'pip install')
_PASSED_ON = ('LANG', 'TF_CPP_MIN_LOG_LEVEL', 'TF_USE_LEGACY_KERAS', 'TMPDIR')


@dataclasses.dataclass(frozen=True)
class Host:
  """What there is of GitHub.

  Attributes:
    folder: of its machines and artifacts.
    origin: the bare repository.
    environment: that every step has, such as where the API is.
    secrets: of the repository.
    token: of a run.
  """

  folder: pathlib.Path
  origin: pathlib.Path
  environment: Mapping[str, str]
  secrets: Mapping[str, str]
  token: str


@dataclasses.dataclass(frozen=True)
class Run:
  """What became of a job.

  Attributes:
    id: of the run.
    conclusion: 'success', 'failure' or 'skipped'.
    log: what its steps said.
    workspace: the folder that they ran in.
  """

  id: int
  conclusion: str
  log: str
  workspace: pathlib.Path


def load(path: pathlib.Path) -> dict:
  """A workflow; YAML 1.1 takes its key `on` for a truth."""
  workflow = yaml.safe_load(path.read_text())
  workflow['on'] = workflow.pop(True)
  return workflow


def job_of(workflow: dict) -> dict:
  (job,) = workflow['jobs'].values()
  return job


def run(host: Host, path: pathlib.Path, event: dict, run_id: int) -> Run:
  """Runs the only job of a workflow for an event."""
  machine = host.folder / str(run_id)
  workspace = machine / 'workspace'
  workspace.mkdir(parents=True)
  workflow = load(path)
  job = job_of(workflow)
  context = {
    'github': {'event': event, 'token': host.token},
    'secrets': host.secrets,
  }
  if not _holds(job.get('if', ''), context):
    return Run(run_id, 'skipped', '', workspace)
  (machine / 'event.json').write_text(json.dumps(event))
  assert workflow['defaults'] == {'run': {'shell': 'bash'}}
  log = ''
  for step in job['steps']:
    assert step.keys() <= {'name', 'uses', 'with', 'env', 'run'}
    if 'uses' in step:
      _use(host, step, context, run_id)
      continue
    if any(word in step['run'] for word in _INSTALLS):
      continue
    done = _bash(host, machine, step, context)
    log += f'{step["name"]}\n{done.stdout}'
    if done.returncode:
      return Run(run_id, 'failure', log, workspace)
  return Run(run_id, 'success', log, workspace)


def _use(host: Host, step: dict, context: dict, run_id: int) -> None:
  """Does what an action does with a workspace."""
  action, given = step['uses'].partition('@')[0], step.get('with', {})
  workspace = host.folder / str(run_id) / 'workspace'
  value = lambda name: _filled(str(given[name]), context)
  if action == 'actions/checkout':
    depth = given.get('fetch-depth', 1)
    of = [] if depth == 0 else [f'--depth={depth}']
    url = f'file://{host.origin}'
    commits.git(host.folder, 'clone', '--quiet', *of, url, str(workspace))
  elif action == 'actions/upload-artifact':
    target = host.folder / 'artifacts' / str(run_id) / value('name')
    shutil.copytree(workspace / value('path'), target)
  elif action == 'actions/download-artifact':
    assert value('github-token') == host.token
    source = host.folder / 'artifacts' / value('run-id') / value('name')
    shutil.copytree(source, workspace / value('path'))
  else:
    assert action == 'actions/setup-python', action


def _bash(
  host: Host, machine: pathlib.Path, step: dict, context: dict
) -> subprocess.CompletedProcess:
  """Runs a step's script, without any expression filled into it."""
  assert '${{' not in step['run']
  script = machine / 'script.sh'
  script.write_text(step['run'])
  home = machine / 'home'
  home.mkdir(exist_ok=True)
  environment = {
    **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    'PATH': os.pathsep.join(
      [str(pathlib.Path(sys.executable).parent), os.environ['PATH']]
    ),
    'PYTHONPATH': str(pathlib.Path(tfcompress.__file__).parents[1]),
    'HOME': str(home),
    'CI': 'true',
    'GITHUB_EVENT_PATH': str(machine / 'event.json'),
    'GITHUB_WORKSPACE': str(machine / 'workspace'),
    **host.environment,
    **{
      name: _filled(value, context)
      for name, value in step.get('env', {}).items()
    },
  }
  return subprocess.run(
    ['bash', '--noprofile', '--norc', '-eo', 'pipefail', str(script)],
    cwd=machine / 'workspace',
    env=environment,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    check=False,
  )


def _filled(text: str, context: dict) -> str:
  return _EXPRESSION.sub(lambda match: _value(match[1], context), text)


def _value(path: str, context: dict) -> str:
  """What a path such as github.event.number stands for; '' if it is not there."""
  found = context
  for name in path.split('.'):
    found = found.get(name, '')
    if found == '':
      break
  return str(found)


def _holds(condition: str, context: dict) -> bool:
  """Whether equalities, joined by `&&`, are all true."""
  sides = [part.split('==') for part in condition.split('&&') if part.strip()]
  return all(
    _side(left.strip(), context) == _side(right.strip(), context)
    for left, right in sides
  )


def _side(text: str, context: dict) -> str:
  return text.strip("'") if text.startswith("'") else _value(text, context)
