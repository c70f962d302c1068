"""What can be refused, and why.

AppizerError
├── Rejected           the input breaks a rule; names the field and the mend   400
├── Unauthenticated    no key, or a key that is not one of ours                401
├── Forbidden          the key is real but may not do this                     403
├── NotFound           no such thing, or it belongs to somebody else           404
├── Conflict           it is there already, in another form                    409
├── LinkRefused        two ids are not made one person, for a stated reason    409
├── TooLarge           the request is over its size                            413
├── TooHeavy           the question is over the engine's limits                422
├── Overloaded         try again in `retry_after` seconds                      503
│   └── TooManyQueries the app has all its questions running                   429
└── NotCaughtUp        the read model is behind the position asked for         504
"""


class AppizerError(Exception):
    """`message` is for people, `code` for programs; `details` is shown to the caller as it is."""

    code = "ERROR"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Rejected(AppizerError):
    """Details: `field` (a path such as `properties.price`) and `issue`."""

    code = "INVALID_REQUEST"

    def __init__(self, field: str, issue: str) -> None:
        super().__init__(f"{field}: {issue}", field=field, issue=issue)
        self.field = field
        self.issue = issue


class Unauthenticated(AppizerError):
    code = "INVALID_API_KEY"


class MissingKey(Unauthenticated):
    code = "MISSING_AUTH"


class RevokedKey(Unauthenticated):
    code = "REVOKED_API_KEY"


class Forbidden(AppizerError):
    """Details: `required_permission` and `current_permissions`."""

    code = "INSUFFICIENT_PERMISSIONS"


class NotFound(AppizerError):
    code = "NOT_FOUND"


class Conflict(AppizerError):
    code = "CONFLICT"


class LinkRefused(AppizerError):
    """Details: `reason` (domain/identity.Reason), `position` where the attempt was stored."""

    code = "LINK_REFUSED"


class TooLarge(AppizerError):
    """Details: `limit_bytes`."""

    code = "REQUEST_TOO_LARGE"


class TooHeavy(AppizerError):
    code = "QUERY_TOO_HEAVY"


class Overloaded(AppizerError):
    code = "UNAVAILABLE"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message, retry_after=retry_after)
        self.retry_after = retry_after


class TooManyQueries(Overloaded):
    code = "TOO_MANY_QUERIES"


class NotCaughtUp(AppizerError):
    """Details: `position` reached, `min_position` asked for, `lag` between them in positions."""

    code = "NOT_CAUGHT_UP"

    def __init__(self, position: int, min_position: int) -> None:
        lag = min_position - position
        super().__init__(
            f"the read model is at position {position}, {lag} behind the {min_position} you asked"
            " for; ask again, or leave min_position out",
            position=position,
            min_position=min_position,
            lag=lag,
        )
