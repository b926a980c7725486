// openai-go, the vendor's own client.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func openaiAt(url, key string, retries int) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(retries))
}

func openaiCreate(api openai.Client, change func(*openai.EmbeddingNewParams)) (*openai.CreateEmbeddingResponse, error) {
	params := openai.EmbeddingNewParams{Model: given.Model}
	params.Input.OfString = openai.String(given.Texts["short"])
	change(&params)
	return api.Embeddings.New(context.Background(), params)
}

func openaiSame(api openai.Client, name string, change func(*openai.EmbeddingNewParams)) error {
	reply, err := openaiCreate(api, change)
	if err != nil {
		return err
	}
	return same(reply.Data[0].Embedding, name)
}

func openaiFails(err error, status int, code string, parts ...string) error {
	var refusal *openai.Error
	if !errors.As(err, &refusal) {
		return fmt.Errorf("not an error of the API: %v", err)
	}
	if refusal.StatusCode != status || refusal.Code != code {
		return fmt.Errorf("%d %q: %w", refusal.StatusCode, refusal.Code, err)
	}
	return says(errors.New(refusal.Message), parts...)
}

func tryOpenAI() {
	c := newClient("openai-go", "github.com/openai/openai-go/v3", "OpenAI")
	api := openaiAt(given.URL, "any", 0)
	asIs := func(*openai.EmbeddingNewParams) {}
	text := func(input string) func(*openai.EmbeddingNewParams) {
		return func(p *openai.EmbeddingNewParams) { p.Input.OfString = openai.String(input) }
	}

	c.feature("single", func() error { return openaiSame(api, "short", asIs) })
	c.feature("batch", func() error {
		reply, err := openaiCreate(api, func(p *openai.EmbeddingNewParams) {
			p.Input = openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: batch}
		})
		if err != nil {
			return err
		}
		for i, name := range names {
			if err := same(reply.Data[i].Embedding, name); err != nil {
				return err
			}
		}
		return nil
	})
	c.feature("float", func() error {
		return openaiSame(api, "short", func(p *openai.EmbeddingNewParams) {
			p.EncodingFormat = openai.EmbeddingNewParamsEncodingFormatFloat
		})
	})
	c.feature("dimensions", func() error {
		return openaiSame(api, "short:128", func(p *openai.EmbeddingNewParams) { p.Dimensions = openai.Int(128) })
	})
	c.feature("empty text", func() error { return openaiSame(api, "empty", text("")) })
	c.feature("token ids", func() error {
		ids := make([]int64, len(given.IDs))
		for i, id := range given.IDs {
			ids[i] = int64(id)
		}
		return openaiSame(api, "short", func(p *openai.EmbeddingNewParams) {
			p.Input = openai.EmbeddingNewParamsInputUnion{OfArrayOfTokens: ids}
		})
	})
	c.feature("models", func() error {
		page, err := api.Models.List(context.Background())
		if err != nil {
			return err
		}
		model, err := api.Models.Get(context.Background(), given.Model)
		if err != nil {
			return err
		}
		if page.Data[0].ID != given.Model || model.ID != given.Model {
			return fmt.Errorf("%v, %v", page.Data, model)
		}
		return nil
	})
	c.feature("odd model ids", func() error {
		_, err := api.Models.Get(context.Background(), "org/na me?%#é")
		return openaiFails(err, 404, "model_not_found", "org/na me?%#é")
	})
	c.feature("unknown model", func() error {
		_, err := openaiCreate(api, func(p *openai.EmbeddingNewParams) { p.Model = "no-such" })
		return openaiFails(err, 404, "model_not_found", "no-such")
	})
	c.feature("too long", func() error {
		_, err := openaiCreate(api, text(given.TooLong))
		return openaiFails(err, 400, "", "512 tokens", "602")
	})
	c.feature("wrong key", func() error {
		_, err := openaiCreate(openaiAt(given.Keyed, "wrong-key", 0), asIs)
		return openaiFails(err, 401, "invalid_api_key")
	})
	c.feature("rate limit", func() error {
		for range 20 {
			if _, err := openaiCreate(openaiAt(given.Keyed, given.SlowKey, 0), asIs); err != nil {
				return openaiFails(err, 429, "rate_limit_exceeded")
			}
		}
		return errors.New("none was refused")
	})
	c.feature("repeats", func() error {
		return repeated(func() error {
			return openaiSame(openaiAt(given.Keyed, given.SlowKey, 3), "short", asIs)
		})
	})
}
