use strict; use warnings; use Socket; use Time::HiRes qw(time);
# Holds back packets of a netfilter queue: delay.pl QUEUE MIN_MS MAX_MS
my ($queue, $min, $max) = @ARGV;
use constant { AF_NETLINK => 16, NETLINK_NETFILTER => 12, SUBSYS => 3 };
socket(my $s, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER) or die "netlink: $!";
bind($s, pack('S S L L', AF_NETLINK, 0, 0, 0)) or die "bind: $!";
setsockopt($s, SOL_SOCKET, SO_RCVBUF, 1 << 22);
my $seq = 0;
sub attr { my ($t, $d) = @_; my $l = 4 + length $d; return pack('S S', $l, $t) . $d . "\0" x (-$l & 3); }
sub message { my ($type, $flags, $family, $res, $attrs) = @_;
  my $b = pack('C C n', $family, 0, $res) . $attrs; $seq++;
  return pack('L S S L L', 16 + length $b, (SUBSYS << 8) | $type, $flags, $seq, 0) . $b; }
sub ask { my ($m) = @_; send($s, $m, 0) or die "send: $!";
  recv($s, my $r, 65536, 0); my (undef, $t, undef, undef, undef, $e) = unpack('L S S L L l', $r);
  die "netfilter refuses: " . ($! = -$e) . "\n" if $t == 2 && $e; }
# config: NFQNL_MSG_CONFIG=2; NFQA_CFG_CMD=1 (bind 1), NFQA_CFG_PARAMS=2 (copy meta 1), NFQA_CFG_QUEUE_MAXLEN=3
ask(message(2, 5, AF_INET, $queue, attr(1, pack('C C n', 1, 0, AF_INET))));
ask(message(2, 5, AF_INET, $queue, attr(2, pack('N C', 0, 1))));
ask(message(2, 5, AF_INET, $queue, attr(3, pack('N', 65536))));
$| = 1; print "ready\n";
my @held; # [time, id], sorted by time
my $ri = ''; vec($ri, fileno($s), 1) = 1;
while (1) {
  my $wait = @held ? $held[0][0] - time : undef; $wait = 0 if defined $wait && $wait < 0;
  my $n = select(my $r = $ri, undef, undef, $wait);
  if ($n > 0 && defined recv($s, my $buf, 65536, 0)) {
    my $at = 0;
    while ($at + 16 <= length $buf) {
      my ($len, $type) = unpack('L S', substr($buf, $at, 8)); last if $len < 16;
      if (($type & 0xff) == 0 && ($type >> 8) == SUBSYS) {
        my $p = $at + 20; my $end = $at + $len;
        while ($p + 4 <= $end) { my ($l, $t) = unpack('S S', substr($buf, $p, 4)); last if $l < 4;
          if (($t & 0x7fff) == 1) { my $id = unpack('N', substr($buf, $p + 4, 4));
            my $due = time + ($min + rand($max - $min)) / 1000;
            my $i = @held; $i-- while $i > 0 && $held[$i-1][0] > $due; splice @held, $i, 0, [$due, $id]; }
          $p += ($l + 3) & ~3; } }
      $at += ($len + 3) & ~3; } }
  my $now = time;
  while (@held && $held[0][0] <= $now) { my $h = shift @held;
    send($s, message(1, 1, AF_INET, $queue, attr(2, pack('N N', 1, $h->[1]))), 0); }
}
