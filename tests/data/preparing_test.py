import numpy as np
import tensorflow_datasets as tfds

from tfcompress.core import types
from tfcompress.data import sources


class TwoColors(tfds.core.GeneratorBasedBuilder):
  """A dataset of TFDS that is made in no time."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
      {
        'image': tfds.features.Image(shape=(8, 8, 3)),
        'label': tfds.features.ClassLabel(names=['black', 'white']),
      }
    )
    return tfds.core.DatasetInfo(builder=self, features=features)

  def _split_generators(self, dl_manager):
    del dl_manager
    return {split: self._generate_examples() for split in ('train', 'test')}

  def _generate_examples(self):
    for i in range(4):
      image = np.full((8, 8, 3), 255 * (i % 2), np.uint8)
      yield i, {'image': image, 'label': i % 2}


def test_a_dataset_is_prepared_with_one_line_and_no_bar(tmp_path, capsys):
  spec = types.DataSpec(dataset='two_colors', data_dir=str(tmp_path))
  source = sources.load(spec)
  assert source.num_examples[types.Split.TRAIN] == 4
  said = capsys.readouterr()
  (line,) = said.out.splitlines()
  assert line.startswith(f'preparing two_colors in {tmp_path}')
  assert said.err == ''
  sources.load(spec)
  assert capsys.readouterr().out == ''
