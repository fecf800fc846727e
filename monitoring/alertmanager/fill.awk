# Replaces ${ALERT_...} by variables of the environment, within single quotes; a line with an empty variable is left out.
/^#/ { next }
{
  done = ""; rest = $0
  while (match(rest, /\$\{ALERT_[A-Z_]+\}/)) {
    value = ENVIRON[substr(rest, RSTART + 2, RLENGTH - 3)]
    if (value == "") next
    gsub(/'/, "''", value)
    done = done substr(rest, 1, RSTART - 1) value
    rest = substr(rest, RSTART + RLENGTH)
  }
  print done rest
}
