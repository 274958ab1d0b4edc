"""What is damaged in a finished study is found, removed, and made again by the next run."""

from emodrift.store.verify import repair_store, verify_store
from tests.conftest import copy_project, save_checkpoint


def read_published(project):
    folder = project.folder / "results/tiny"
    return {p.name: p.read_bytes() for p in folder.rglob("*.csv")}


def test_a_damaged_part_and_an_edited_table_are_made_again_by_the_next_run(tmp_path):
    project = copy_project(tmp_path)
    for step in (0, 10):
        save_checkpoint(tmp_path / f"runs/sft/checkpoint-{step}", seed=step, step=step)
    project.run()
    store, published = tmp_path / "results/store", read_published(project)
    assert verify_store(store) == []
    part = next(p for p in sorted(store.glob("activation*/*")) if list(p.rglob("c/*")))
    chunk = next(p for p in sorted(part.rglob("c/*")) if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1])
    (tmp_path / "results/tiny/tables/drift.csv").write_text("edited")
    findings = verify_store(store)
    assert {f.path for f in findings if f.kind == "damaged"} == {part}
    kept = {p for p in store.glob("*/*") if p not in {f.path for f in findings}}
    removed = repair_store(store, findings)
    assert part in removed and all(p.exists() for p in kept)
    jobs = project.list_jobs()
    assert {"drift", "report", "publication"} <= jobs.keys() and "contrasts" not in jobs
    project.run()
    assert verify_store(store) == [] and project.list_jobs() == {}
    assert read_published(project) == published
