"""Calls of what needs torch: exports, training, and what is measured of them."""

import json
import shutil
from functools import partial

from tests import golden
from tests.process.rooms import import_all

RUNS = golden.CASE_A / "runs"


def export_calls(folder):
    """Exports and what is known of them afterwards."""
    import bilayer
    from bilayer.benchmarks.parity.ladder import climb
    from bilayer.benchmarks.parity.rungs.trained import ExactTrained, make_trained
    from bilayer.benchmarks.parity.subject import open_subject
    from bilayer.export.bulk.items import find_items
    from bilayer.export.bulk.run import export_many, plan_export
    from bilayer.export.options import ExportOptions
    from bilayer.model import random_model
    from bilayer.runtime.jobs.run import Workers

    yield "importing all", partial(import_all, "model", "export", "training", "benchmarks")
    source = ExportOptions(folder / "face.png", checkpoint=RUNS, landmarks=folder / "face.npy", mask=False)

    def export(name, **options):
        given = {**vars(source), "out": folder / name / "avatar.dlc", "target": "none", **options}
        given["out"].parent.mkdir(exist_ok=True)
        return bilayer.export_avatar(**given)

    yield "an export", partial(export, "whole")
    yield "an export in integers", partial(export, "integers", refine="none", precision="w8a16")
    for also in ("tflite", "coreml", "pte-xnnpack"):
        yield f"an export with {also}", partial(export, also, refine="none", also=(also,))
    yield "an export of a photo that is none", partial(export, "bad", photo=folder / "face.npy")
    yield "an export of a checkpoint that is none", partial(export, "bad", checkpoint=folder / "face.png")

    items = folder / "items.jsonl"
    row = {"photo": str(folder / "face.png"), "landmarks": str(folder / "face.npy")}
    items.write_text("\n".join(json.dumps({**row, "name": name, "refine": "none"}) for name in "ab"))

    def many(target, processes=1):
        usual, workers = ExportOptions("", checkpoint=RUNS, mask=False, target=target), Workers(processes)
        shutil.rmtree(folder / "many", ignore_errors=True)
        plan = plan_export(find_items(str(items)), str(folder / "many"), usual, workers, lambda: None)
        report = export_many(plan, workers, lambda: None)
        assert report.count("failed") == 0, report

    yield "many exports", partial(many, "none")
    yield "many exports that are converted", partial(many, "qairt")
    yield "the same on two processes", partial(many, "none", 2)  # of which one is this, where there is one photo
    yield "loading a model", partial(bilayer.load_model, RUNS)
    yield "loading none", partial(bilayer.load_model, folder)
    yield "a random model", lambda: random_model(bilayer.load_model(RUNS).config)
    yield "a check", partial(bilayer.check, folder / "bundle", poses=1)
    yield "a check of rules", partial(bilayer.check, folder / "bundle", "snpe-1.32")

    def compare():
        avatar = bilayer.load_avatar(folder / "bundle")
        trained = make_trained(open_subject(avatar.bundle, [avatar.source_pose]), source)
        climb(trained.subject, [trained], truth=ExactTrained.of(trained))

    yield "a comparison with the trained model", compare


def training_calls(folder):
    """Data, training on it, and what came of it."""
    from bilayer.runtime.jobs.run import Workers
    from bilayer.training.build import make_base_stage, make_data, make_enhancer_stage
    from bilayer.training.efficientnet import load_feature_distance
    from bilayer.training.evaluate.asked import make_meter
    from bilayer.training.evaluate.frames import evaluate_frames
    from bilayer.training.evaluate.many import evaluate_asked
    from bilayer.training.evaluate.options import CheckpointOptions, MeterOptions
    from bilayer.training.evaluate.protocol import choose_sequences
    from bilayer.training.loop import Data, train
    from bilayer.training.prepare.check import check_dataset
    from bilayer.training.prepare.heads import HeadSettings, head_jobs, model_fingerprint, prepare_heads
    from bilayer.training.processes import join_processes
    from bilayer.training.run_folder import RunFolder
    from tests.training import tiny

    folder = folder / "training"
    data, run = folder / "data", folder / "run"
    heads = HeadSettings(model_fingerprint(None), frames=3, size=64, supersampling=1)

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        for split, people in (("train", range(2)), ("test", range(9, 10))):
            prepare_heads(head_jobs(None, data, split, people, heads), Workers())

    yield "rendering heads", prepare
    yield "checking data", partial(check_dataset, data)
    settings = tiny.settings(data, iterations=2)

    def learn(make):
        shutil.rmtree(run, ignore_errors=True)
        with join_processes("cpu") as process:
            training, pictures = make_data(settings, process.rank)
            train(make(), settings, Data(training, pictures), RunFolder(run), process, lambda **_: None)

    yield "training", partial(learn, lambda: make_base_stage(settings, None, str))
    yield "training from weights", partial(learn, lambda: make_base_stage(settings, RUNS, str))
    yield "training an enhancer", partial(learn, lambda: make_enhancer_stage(settings, RUNS, None, str))
    yield "a distance of features", load_feature_distance
    yield "a meter", partial(make_meter, MeterOptions(landmark_errors=False, threads=1))
    yield "measuring frames", lambda: evaluate_frames({"a": data / "imgs"}, data / "imgs")
    asked = CheckpointOptions(
        checkpoints=(str(RUNS),), data=data, landmark_errors=False, threads=1, every=1, identities=1, split="test"
    )
    yield (
        "measuring checkpoints",
        lambda: evaluate_asked(asked, choose_sequences(data, asked.protocol), Workers(), None, lambda: None),
    )


def number_calls(folder):
    """What bilayer-bench and bilayer-parity do."""
    from bilayer.benchmarks.parity.many import contracts_below, judge_many
    from bilayer.benchmarks.parity.options import ParityOptions
    from bilayer.benchmarks.speed import avatar_creation, export_stages, export_variants, network, player, sampler
    from bilayer.benchmarks.speed.costs import count_reports, roofline_reports
    from bilayer.benchmarks.speed.options import ExportBench, FrameBench, InitBench, NetworkBench, VariantsBench
    from bilayer.model.config import PRESETS
    from bilayer.runtime.jobs.run import Workers
    from tests.training import tiny

    PRESETS["small"] = tiny.CONFIG
    once = {"repeats": 1, "warm_up": 0}
    yield "timing avatars", lambda: avatar_creation.time_creation(InitBench(preset="small", threads=1, **once))
    yield "timing the sampler", lambda: sampler.measure(24, 1, 0)
    asked = NetworkBench(preset="small", threads=(1, 2), **once)
    yield "timing networks", lambda: network.measure(asked, str)
    yield "timing frames", lambda: player.time_frames(FrameBench(bundle=folder / "bundle", threads=1, **once), str)

    def variants():
        plain, pose, expected = export_variants.make_generator("small")
        asked = VariantsBench(preset="small", repeats=1)
        export_variants.measure(export_variants.variants_of(plain), expected, pose, asked)

    yield "timing variants", variants
    yield (
        "timing exports",
        lambda: export_stages.time_export(ExportBench(photo=folder / "face.png", checkpoint=RUNS, **once)),
    )
    yield "counting", lambda: (count_reports("small"), roofline_reports("small", "fp16"))
    assert contracts_below(folder)
    contracts, quick = contracts_below(folder), ParityOptions(bundle=folder, poses=1, slow_poses=0)
    yield "judging avatars", lambda: judge_many(contracts, quick, Workers(), lambda: None)
