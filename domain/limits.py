"""Every limit on what may enter, and on what may be asked, in one place."""

MAX_EVENT_BYTES = 32 * 1024
MAX_REQUEST_BYTES = 4 * 1024 * 1024  # after decompression
MAX_REQUEST_EVENTS = 500
MAX_NAME_CHARS = 100
MAX_ID_CHARS = 200
MAX_KEY_CHARS = 255
MAX_DEPTH = 20
MAX_KEYS = 200
MAX_NUMBER = 2**53  # larger integers do not survive an IEEE 754 double (RFC 8259, section 6)
MIN_YEAR = 2000
MAX_YEAR = 2100
MAX_CLOCK_AHEAD_SECONDS = 24 * 3600  # a corrected timestamp may not lie further in the future

MAX_IDS_PER_PERSON = 20_000
MAX_REASON_CHARS = 300  # why somebody was erased
MAX_TRAITS = 1000  # of one person or group: those that were spoken of last
MAX_TRAIT_LIST = 1000  # values that append and union keep: the newest
MAX_TRAIT_LIST_BYTES = 64 * 1024  # of them as JSON

MAX_AUTHORIZED_DOMAINS = 100  # of one app
MIN_RETENTION_DAYS = 30
MAX_RETENTION_DAYS = 2555

MAX_PAGE = 1000
DEFAULT_PAGE = 50
MAX_BREAKDOWN = 100
MAX_BUCKETS = 10_000
MAX_DURATION_DAYS = 366  # of a conversion window and the like
MIN_FUNNEL_STEPS = 2
MAX_FUNNEL_STEPS = 10
MAX_FUNNEL_EXCLUSIONS = 5
MAX_RETENTION_PERIODS = 366
MAX_RETENTION_CELLS = 10_000  # cohorts times periods
MAX_SESSION_GAP_MINUTES = 24 * 60
MAX_PATH_STEPS = 8
MAX_PATH_NODES = 50  # at each step
MAX_PATH_EXCLUSIONS = 50
MAX_WHERE = 20
MAX_WHERE_LIST = 100  # values of one condition
MAX_WHERE_CHARS = 1000  # of a string in a condition
MAX_PATTERN_CHARS = 200
MAX_PATTERN_REPEAT = 255  # Postgres has no more
MAX_PATTERN_SIZE = 1000  # with its repetitions written out; ClickHouse has no more
MAX_RELATIVE_DAYS = 36_600  # of a date that is told from now: ages too
MAX_CRITERIA_DEPTH = 8  # so that their JSON is within MAX_DEPTH
MAX_CRITERIA_NODES = 100
MAX_CRITERIA_CHARS = 20_000  # of their text form
MAX_TIMES = 1_000_000  # that something was done
MAX_SEED_CHARS = 100  # of a sample
MAX_PAST_IDS = 200_000  # of an app, to list its people as they were
MAX_WAIT_SECONDS = 10.0  # how long a query waits for its min_position

MAX_SQL_CHARS = 20_000
MAX_SQL_PARAMETERS = 100
MAX_SQL_PARAMETER_LIST = 10_000
MAX_SQL_BRACKETS = 32  # open at once
MAX_SQL_DEPTH = 200  # of the parsed tree
MAX_SQL_NODES = 8_000
MAX_SQL_STRINGS = 1_000  # different ones; longer lists are parameters
MAX_SQL_TABLES = 48  # read, counted once for each time that a CTE is used
MAX_SQL_ROWS = 10_000
MAX_SQL_ANSWER_BYTES = 16 * 1024 * 1024
MAX_SQL_SECONDS = 20.0
