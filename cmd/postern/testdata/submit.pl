# Submits one mail with Net::SMTP.
use strict;
use warnings;
use Authen::SASL;
use Net::SMTP;
use MIME::Base64;

my %tls = (SSL_ca_file => 'ca.pem', SSL_verify_mode => 1);
my $smtp = Net::SMTP->new('localhost', Port => $ENV{PORT}, Hello => 'app.example.com', Timeout => 60, $ENV{TLS} eq 'implicit' ? (SSL => 1, %tls) : ())
    or die "no connection: $@\n";
if ($ENV{TLS} eq 'starttls') { $smtp->starttls(%tls) or die "no TLS: $@\n" }
if ($ENV{MECHANISM}) {
    my $sasl = Authen::SASL->new(mechanism => $ENV{MECHANISM}, callback => { user => 'marketer@example.com', authname => '', pass => $ENV{PASSWORD} });
    $smtp->auth($sasl) or die 'AUTH: ' . $smtp->message;
}
$smtp->mail('marketer@example.com') or die $smtp->message;
$smtp->to('promo@lists.example.com') or die $smtp->message;
$smtp->data() or die $smtp->message;
$smtp->datasend("From: Marketer <marketer\@example.com>\nTo: promo\@lists.example.com\nSubject: =?utf-8?B?", encode_base64($ENV{SUBJECT}, ''), "?=\n");
$smtp->datasend("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nDear {{Name}},\n.\n안녕하세요\n");
$smtp->dataend() or die $smtp->message;
$smtp->quit;
