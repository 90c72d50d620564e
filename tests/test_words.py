"""What somebody may have meant."""

import pytest

from bcnet_lib.words import meant


@pytest.mark.parametrize("given, want", [
    ("mobilenetv2", "; did you mean 'mobilenet_v2'?"),
    ("MobileNet-V2", "; did you mean 'mobilenet_v2'?"),
    ("resnet19", "; did you mean 'resnet18'?"),
    ("mypkg.net", "; did you mean 'mypkg:net'?"),
    ("a.b.net", "; did you mean 'a.b:net'?"),
    ("transformer", ""),
    ("", ""),
])  # fmt: skip
def test_a_near_name_is_offered_and_a_far_one_is_not(given, want):
    assert meant(given, ["digits_cnn", "mobilenet_v2", "resnet18"]) == want
