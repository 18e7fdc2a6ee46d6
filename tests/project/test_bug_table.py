"""The table of bugs in design/methods.md, row by row; here are the tests that fit nowhere else.

row                                        tests that fail on the wrong behaviour
-----------------------------------------  ----------------------------------------------------
the truth reaches every prompt             test_metas: no_path_holds_the_answer, hints_name_the_
                                           answer_only_when_asked; test_evaluate: no_strategy_
                                           learns_the_answer
logits shifted by one                      test_engine: figures_equal_a_plain_forward
lists overwritten, priors shared           test_search: three_candidates_are_three_children
softmax of probabilities                   test_selection: prior_is_normalised_from_log_probs
the meta-action draw is frozen; sums       test_metas: every_request_gets_a_fresh_draw, transition_
                                           matrix_reads_backed_up_means_and_not_sums
log-values; means are backed up            test_rectify: a_deeper_failure_is_no_better_failure;
                                           test_search: backup_equals_a_recount_from_the_log
terminals expanded, outcomes unused        test_search: what_states_an_answer_is_never_expanded,
                                           outcomes_count_in_training
every thought is graded                    test_search: only_a_stated_answer_is_graded
patience not reset                         test_search: patience_ends_each_tree_for_itself
a value of 0 is dropped                    test_search: a_value_of_zero_counts; test_rectify:
                                           a_target_of_zero_counts_and_order_does_not
unfinished leaves are failures             test_rectify: rectify_by_hand, equals_plain_recursion
the advantage runs backwards               test_credit: gae_by_hand, gae_on_a_chain
no end of thought, no meta-action          test_experience: every_sampled_token_trains_once;
                                           test_tree: path_ids_join
right padding, an assumed BOS              test_update: the_gradient_is_that_of_naive_losses; here:
                                           a_tokenizers_own_bos_stays_out
value read and trained at two places       test_update: the_trained_value_is_the_one_the_engine_
                                           read; test_losses: the_rating_is_read_with_the_softmax
the ratio is always 1                      test_update: after_a_step_the_ratio_and_the_reference_
                                           kl_move (with and without LoRA)
context and padding add loss               test_experience: every_sampled_token_trains_once;
                                           test_update: the_gradient_is_that_of_naive_losses
one weight and TD error for all rows       test_update: the_gradient_is_that_of_naive_losses;
                                           test_replay: priorities_are_set_per_sample
zero priority never drawn, NaN             test_replay: an_item_without_error_can_still_be_drawn
accumulation, clipping, scheduler          test_update: accumulation_changes_nothing, gradients_are_
                                           clipped; here: the_rate_of_a_step_is_the_one_it_is_given
ranks diverge, share a pickle              here: every_rank_takes_part, nothing_is_pickled;
                                           test_train: two_ranks_train_together
left truncation drops the problem          test_engine: a_path_that_would_outgrow_the_context
eval() of model text, -5 read as 5         test_grading: nothing_is_evaluated, integers_are_graded
"""

import ast
import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from fake_engine import random_tree
from tokenizers.processors import TemplateProcessing
from toy_models import toy_model
from transformers import PreTrainedTokenizerFast

import llamao1_cli
from llamao1_cli.config import LearnConfig
from llamao1_cli.distributed.optimizer_step import optimizer_step
from llamao1_cli.language.marked import METAS, Rating
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.learn.update import NOTHING, Sums, Updater
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.model.packed_attention import attending_packed
from llamao1_cli.search.rectify import rectify


def test_a_tokenizers_own_bos_stays_out(tiny: LanguageModel) -> None:
    plain = tiny.language(METAS)
    inner = copy.deepcopy(tiny.tokenizer.backend_tokenizer)
    inner.post_processor = TemplateProcessing(
        single="<pad> $A <pad>", special_tokens=[("<pad>", inner.token_to_id("<pad>"))]
    )
    adds_bos = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<pad>")
    assert adds_bos("a")["input_ids"][0] == inner.token_to_id("<pad>")
    language = MarkedLanguage(adds_bos, METAS)
    assert language.root("How many are 12?") == plain.root("How many are 12?")
    assert language.opening(1) == plain.opening(1)
    thought = language.encode("3+4=7")
    assert thought == plain.encode("3+4=7")
    assert language.decode(thought) == (None, "3+4=7")


@pytest.mark.parametrize("rate", [0.0, 0.25, 2.0])
def test_the_rate_of_a_step_is_the_one_it_is_given(rate: float) -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=123.0)
    before = model.weight.detach().clone()
    norm = optimizer_step(
        Accelerator(cpu=True),
        model,
        optimizer,
        [lambda: model(torch.tensor([3.0, 0.0])).sum(), lambda: model(torch.ones(2) * 4).sum() * 0],
        rate=rate,
        max_grad_norm=10.0,
        name="a batch",
    )
    assert norm == pytest.approx(3.0)
    assert (before - model.weight).tolist()[0] == pytest.approx([3 * rate, 0.0], abs=1e-6)


def some(language: MarkedLanguage, count: int) -> list[Experience]:
    made: list[Experience] = []
    for seed in range(20):
        tree = random_tree(language, seed, 10)
        rectify(tree, 1.0, "failure")
        made += experiences([tree], language, LearnConfig(), 1.0)
    return made[:count]


def test_every_rank_takes_part_with_its_own_share(language: MarkedLanguage) -> None:
    model = toy_model(language)
    for size, world in [(7, 3), (1, 4), (8, 2)]:
        seen = []
        for rank in range(world):
            accelerator = SimpleNamespace(
                process_index=rank,
                num_processes=world,
                device=torch.device("cpu"),
                unwrap_model=lambda model: model,
            )
            updater = Updater(LearnConfig(), language, Sampling(), accelerator, model, None)
            batches = updater._micro_batches(some(language, size))
            assert batches  # a rank without a share still runs forward and backward
            seen += [place for parts in batches for place, item in parts if item is not NOTHING]
        assert sorted(seen) == list(range(size))


def test_a_rank_without_a_share_still_reaches_every_weight(language: MarkedLanguage) -> None:
    model = toy_model(language)
    updater = Updater(LearnConfig(), language, Sampling(), Accelerator(cpu=True), model, None)
    totals, sums = {"tokens": 1.0, "values": 1.0, "iteration": 1.0}, Sums(torch.zeros(2))
    with attending_packed(model):
        loss = updater._loss([(0, NOTHING)], torch.ones(2), totals, sums)
        loss.backward()
    assert loss.item() == 0.0
    assert not sums.errors.any()
    assert not any(sums.amounts.values())
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_nothing_is_pickled_or_evaluated() -> None:
    files = sorted(Path(llamao1_cli.__file__).parent.rglob("*.py"))
    assert len(files) > 30
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "shelve", "dill", "joblib"}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "torch.load", "np.load"}, path
                keywords = {keyword.arg for keyword in node.keywords}
                assert "allow_pickle" not in keywords, path


def test_the_rating_a_thought_was_given_is_never_rewritten(language: MarkedLanguage) -> None:
    tree = random_tree(language, 4, 10)
    before = [tree.path_ids(node, language) for node in tree.nodes]
    rectify(tree, 1.0, "failure")
    for node in tree.nodes:
        node.thought.rating = 1.0 - node.thought.rating
    assert [tree.path_ids(node, language) for node in tree.nodes] == before
    shown = {node.thought.shown for node in tree.nodes[1:]}
    assert shown <= set(Rating)
