"""What is damaged in a finished study is found, removed, and made again by the next run."""

from emodrift.store.verify import repair_store, verify_store


def test_a_damaged_part_and_an_edited_table_are_made_again_by_the_next_run(study):
    store, published = study.folder / "results/store", study.read_tables()
    assert verify_store(store) == []
    part = next(p for p in sorted(store.glob("activation*/*")) if list(p.rglob("c/*")))
    chunk = next(p for p in sorted(part.rglob("c/*")) if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-1])
    (study.folder / "results/tiny/tables/drift.csv").write_text("edited")
    findings = verify_store(store)
    assert {f.path for f in findings if f.kind == "damaged"} == {part}
    kept = {p for p in store.glob("*/*") if p not in {f.path for f in findings}}
    removed = repair_store(store, findings)
    assert part in removed and all(p.exists() for p in kept)
    jobs = study.list_jobs()
    assert {"drift", "report", "publication"} <= jobs.keys() and "contrasts" not in jobs
    study.run()
    assert verify_store(store) == [] and study.list_jobs() == {}
    assert study.read_tables() == published
