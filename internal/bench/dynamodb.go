package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/dynamodb"
	"postern/mail"
)

const (
	tableUsers = 100_000
	tableChunk = 1000 // users in one Put, as the sync has them
	tableCalls = 8    // BatchWriteItems at the same time, on both sides
)

// dynamodb compares how fast users come into an empty table of an emulator: by BatchWriteItem
// alone, by Put of users who are said to be new, and by Put that looks them all up.
func (b *bench) dynamodb() error {
	d, err := b.startDynalite()
	if err != nil {
		return err
	}
	defer d.stop()
	var bares, news, looks, newShares, lookShares []float64 // a share of each round: what disturbs it disturbs all sides
	for round := range b.rounds + 1 {
		bare, err := d.bareWrites(tableUsers)
		if err != nil {
			return err
		}
		said, err := d.puts(tableUsers, true)
		if err != nil {
			return err
		}
		look, err := d.puts(tableUsers, false)
		if err != nil {
			return err
		}
		if round == 0 {
			continue // warming up
		}
		bares, news, looks = append(bares, bare), append(news, said), append(looks, look)
		newShares, lookShares = append(newShares, said/bare), append(lookShares, look/bare)
	}
	bare := perSecond(median(bares))
	row(fmt.Sprintf("%d users of 200 octets into an empty table of dynalite, Put of %d new ones, beside BatchWriteItem by %d callers", tableUsers, tableChunk, tableCalls),
		perSecond(median(news)), bare, fmt.Sprintf("%.2f", median(newShares)), ">= 0.8")
	row("the same, and each is looked up first", perSecond(median(looks)), bare, fmt.Sprintf("%.2f", median(lookShares)), "")
	return nil
}

// dynalite is an emulator of DynamoDB, a process of its own.
type dynalite struct {
	cmd    *exec.Cmd
	url    string
	client *sdk.Client
	tables int
}

func (b *bench) startDynalite() (*dynalite, error) {
	program, err := filepath.Abs("testdata/peers/node_modules/dynalite/cli.js")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("dynalite is not in testdata/peers/node_modules: run `.ci/peers` in the project's folder: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	d := &dynalite{url: "http://" + addr, cmd: exec.Command("node", program, "--host", "127.0.0.1", "--port", port, "--createTableMs", "0", "--deleteTableMs", "0")}
	d.cmd.Stderr = os.Stderr
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = tableCalls })
	d.client = sdk.New(sdk.Options{Region: "us-east-1", BaseEndpoint: &d.url, HTTPClient: transport,
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", "")})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return d, c.Close()
		}
		if time.Now().After(deadline) {
			d.stop()
			return nil, fmt.Errorf("dynalite does not listen: %w", err)
		}
	}
}

func (d *dynalite) stop() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// table makes an empty User table of another name.
func (d *dynalite) table() (string, error) {
	d.tables++
	name := fmt.Sprintf("User%d", d.tables)
	ctx := context.Background()
	_, err := d.client.CreateTable(ctx, &sdk.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("Email"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("Email"), KeyType: types.KeyTypeHash}}})
	if err != nil {
		return "", err
	}
	return name, sdk.NewTableExistsWaiter(d.client, func(o *sdk.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 50*time.Millisecond
	}).
		Wait(ctx, &sdk.DescribeTableInput{TableName: &name}, time.Minute)
}

// drop removes a table when its round is over: the emulator has it in memory.
func (d *dynalite) drop(name string) error {
	_, err := d.client.DeleteTable(context.Background(), &sdk.DeleteTableInput{TableName: &name})
	return err
}

// tableUser is a user of about 200 octets, and tableItem the same as an item.
func tableUser(i int) directory.User {
	return directory.User{Email: mail.Address(fmt.Sprintf("user%07d@example.com", i)), Subscribed: true, Attributes: map[string]any{
		"Name": "김민지", "Gender": "Female", "CreateTime": json.Number(fmt.Sprint(1_700_000_000 + i)), "City": "Seoul, South Korea",
		"Grade": "gold", "Referrer": "https://shop.example.com/"}}
}

func tableItem(i int) map[string]types.AttributeValue {
	u := tableUser(i)
	it := map[string]types.AttributeValue{"Email": &types.AttributeValueMemberS{Value: string(u.Email)},
		"SubscriptionStatus": &types.AttributeValueMemberBOOL{Value: true}}
	for name, v := range u.Attributes {
		if n, ok := v.(json.Number); ok {
			it[name] = &types.AttributeValueMemberN{Value: n.String()}
			continue
		}
		it[name] = &types.AttributeValueMemberS{Value: v.(string)}
	}
	return it
}

// bareWrites is nothing but BatchWriteItem, 25 items in a call; items a second.
func (d *dynalite) bareWrites(n int) (float64, error) {
	const batch = 25
	name, err := d.table()
	if err != nil {
		return 0, err
	}
	writes := make([]types.WriteRequest, n)
	for i := range writes {
		writes[i] = types.WriteRequest{PutRequest: &types.PutRequest{Item: tableItem(i)}}
	}
	batches := slices.Collect(slices.Chunk(writes, batch))
	rate, err := together(tableCalls, len(batches), func(_, i int) error {
		out, err := d.client.BatchWriteItem(context.Background(), &sdk.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{name: batches[i-1]}})
		if err == nil && len(out.UnprocessedItems) > 0 {
			err = errors.New("dynalite left items unprocessed")
		}
		return err
	})
	return rate * batch, errors.Join(err, d.drop(name))
}

// puts has the directory's driver write the same users; users a second.
func (d *dynalite) puts(n int, said bool) (float64, error) {
	name, err := d.table()
	if err != nil {
		return 0, err
	}
	users := make([]directory.User, n)
	for i := range users {
		users[i] = tableUser(i)
		users[i].New = said
	}
	ctx := context.Background()
	store, err := dynamodb.New(ctx, dynamodb.Config{Table: name, Endpoint: d.url})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	start := time.Now()
	for chunk := range slices.Chunk(users, tableChunk) {
		if err := store.Put(ctx, chunk); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), d.drop(name)
}
