"""Care: what is told, what is idle, and when something is done about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from element_jupyter.core.care.notices import NoticeKind, Told, in_order, notice_id

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def told(about="s-1", kind=NoticeKind.IDLE, **more) -> Told:
    said = {"sentence": "Your server is idle.", "at": NOW, "deadline": NOW + 10 * MINUTE, **more}
    return Told(id=notice_id("ada", kind, about), person="ada", kind=kind, about=about, **said)


def test_a_notice_is_held_off_for_as_long_as_the_policy_says_and_not_beyond_its_limit():
    assert told(keep_seconds=3600).may_be_kept_until(NOW) == NOW + HOUR
    assert told(keep_seconds=60).may_be_kept_until(NOW) is None  # sooner than it would be anyway
    assert told(keep_seconds=3600, keep_limit=NOW + 20 * MINUTE).may_be_kept_until(NOW) == (
        NOW + 20 * MINUTE
    )
    assert told(keep_seconds=3600, keep_limit=NOW + 10 * MINUTE).may_be_kept_until(NOW) is None
    assert told().may_be_kept_until(NOW) is None
    assert told(keep_seconds=3600, over_at=NOW).may_be_kept_until(NOW) is None


def test_the_most_urgent_is_told_first_and_what_is_over_or_old_not_at_all():
    shown = in_order(
        [
            told("old", NoticeKind.STOPPED, deadline=None, at=NOW - timedelta(days=4)),
            told("stopped", NoticeKind.STOPPED, deadline=None),
            told("later", deadline=NOW + HOUR),
            told("over", over_at=NOW),
            told("soon"),
        ],
        NOW,
    )

    assert [each.id for each in shown] == [
        told(about, kind).id
        for about, kind in (
            ("soon", NoticeKind.IDLE),
            ("later", NoticeKind.IDLE),
            ("stopped", NoticeKind.STOPPED),
        )
    ]
