"""The conformance kit: checks that a plugin does what the zoo expects of it. For tests; nothing else imports it.

From an author's tests, for everything that an installed distribution offers:

    @pytest.mark.parametrize("case", zoo.testing.cases("zoo-mine"), ids=str)
    def test_conformance(case):
        case.check()

or for one class, which need not be installed: `zoo.testing.check_distance(Mine)`. From the shell: `zoo check zoo-mine`,
or `pytest -p zoo.testing.plugin --zoo-plugin zoo-mine`.
"""

# isort: off
from zoo.testing import (  # noqa: F401 - each registers its checks, in this order
    plugin_checks,
    settings_checks,
    distance_checks,
    constraint_checks,
    slope_checks,
    term_checks,
    objective_checks,
    network_checks,
    generator_checks,
    critic_checks,
    backbone_checks,
    classifier_checks,
    dataset_checks,
    metric_checks,
    procedure_checks,
    variant_checks,
)

# isort: on
from zoo.testing.checks import CHECKS, Check, Failed, Skipped, Subject, check
from zoo.testing.kit import (
    Case,
    Result,
    cases,
    cases_of,
    check_backbone,
    check_component,
    check_critic,
    check_dataset,
    check_distance,
    check_generator,
    check_lipschitz_constraint,
    check_metric,
    check_network,
    check_objective,
    check_procedure,
    check_variant,
)

__all__ = [
    "CHECKS",
    "Case",
    "Check",
    "Failed",
    "Result",
    "Skipped",
    "Subject",
    "cases",
    "cases_of",
    "check",
    "check_backbone",
    "check_component",
    "check_critic",
    "check_dataset",
    "check_distance",
    "check_generator",
    "check_lipschitz_constraint",
    "check_metric",
    "check_network",
    "check_objective",
    "check_procedure",
    "check_variant",
]
